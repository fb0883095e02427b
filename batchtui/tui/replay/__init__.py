"""A run looked at again: the screen as it was at each moment, moving on at a speed.

clock.py   where the replay is, and what the keys do to that
source.py  the views of these moments
log.py     the log up to a moment
screen.py  the main screen with a replay's header, footer and keys
app.py     the application of a replay
"""
