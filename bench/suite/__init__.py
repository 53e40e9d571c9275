"""What is asked: suite files, and the settings that a suite and the command line share."""
