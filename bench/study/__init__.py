"""Studies with people: the page they vote on, the server that takes their votes, and what the votes say."""
