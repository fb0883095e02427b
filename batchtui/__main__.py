"""`python -m batchtui` is `batchtui`."""

from batchtui.cli import main

raise SystemExit(main())
