"""The supervisor: a small process of its own that starts a training, owns it and outlives us.

daemon      starting a supervisor, detached from terminal and session
lock        one supervisor a run, and what it owned, for whoever comes after its death
supervisor  its life and main loop
watch       what it sees: samples, journals, silence, memory
worker      the training's command, environment and birth
tree        finding and signalling all processes below one
custody     worker and descendants: stopped, killed, collected
ladder      what is sent when, to stop a training
ledger      run.db as the supervisor keeps it: status, events, commits that may fail
ingest      journals to run.db
progress    what the header of the screen shows of the records
patience    how long it waits for what
silence     when a training that says nothing counts as lost
guard       when memory counts as full
death       why it ended, in words
account     the worker's own words on that: error.json
log         worker.log, kept small
shm         what a killed data loader leaves in /dev/shm
control     requests by socket: stop, restart, status, ping
succession  what comes after a run: a restart at another batch size, or the way back from one
successor   the folder of that next run
recover     cleaning up after a supervisor that died
"""
