"""From a suite to units of work: names bound, units with identities, what is missing and its remedy."""
