"""The screen: reads a run, draws it, and may die at any moment without losing anything.

feed.py      one thread that reads and posts one frozen view
view.py      that view: every number the screen shows
assemble.py  how a view is made from what a run has recorded, without any input or output
source.py    the reads themselves: run.db and the tail of worker.log
app.py       the application; screens/ panes/ widgets/ what it draws; driver/ how it is sent
"""
