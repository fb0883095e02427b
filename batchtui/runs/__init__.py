"""A run on disk: its directory, the journals its ranks write, and run.db.

directory   the files of a run; creating, listing and finding runs
identity    a process that cannot be mistaken for another one that got its pid
journal     reading a rank's journal while it grows
schema      the tables of run.db, and who may open it
rollups     min, max, sum and count of every series at powers of a fixed fan-out
filesystem  whether other machines may read a file as well
rows        how records become rows
store       the one writer of run.db
access      opening run.db to read it
lineage     runs that go on where another ended
series      what a chart draws
reader      what everybody else asks of run.db
"""
