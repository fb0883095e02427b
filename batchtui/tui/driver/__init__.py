"""How the screen reaches a terminal: cells that changed, newest frame first, never waiting.

Textual writes whole regions. Here what it writes goes into a model of the screen, and a thread
sends the difference between that model and what the terminal already shows. Frames that a slow
line has no room for are never sent: the next difference contains them. How much room there is, the
terminal tells by answering a question after each piece; what a key has changed goes first.

styles.py      colours and attributes as small numbers, and the shortest change between two
model.py       the screen as Textual has drawn it
difference.py  the shortest way from what a terminal shows to the model
pace.py        what may be on its way to the terminal
output.py      the thread that writes
cells.py       the driver that Textual is given
"""
