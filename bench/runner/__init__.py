"""How a plan is carried out: one driver that writes, workers that restore once and score many."""
