"""The worker: a training loop in a process of its own, which needs torch and the standard library.

bootstrap   started by path in any environment's interpreter; makes this package importable
main        a worker's life: import, build, load, train, and its death explained
launch      what the process is: its run directory, rank and specification
stop        SIGTERM, and a supervisor that vanished
journal     records, one JSON line each
failure     error.json
output      standard output that cannot end a training
targets     from `package.module:name` to the object, or one clear line
device      the accelerator, its name and its memory
build       model, loss, optimizer
learner     these on their device
schedule    the learning rate, stepped by samples trained
data        data sets by name, and their loaders; datasets, pictures: how they are read
sampler     who is trained when: permutations, batches, seeds of each draw
loop        the training loop
statistics  mean and variance of per-sample losses
meters      what a step took, without making it wait
evaluate    a pass over the held-out split
milestones  what happens between steps
checkpoint  atomic files to resume from
parallel    more than one process
work        the training put together
"""
