"""What is written for later: charts as files."""
