"""Where units run. An engine maps tasks to results; the numbers do not depend on which."""
