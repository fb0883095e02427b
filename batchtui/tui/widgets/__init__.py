"""What panes are made of: a canvas of cells, braille dots, charts and bars."""
