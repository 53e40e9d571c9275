"""Training. Stages are functions of settings and data; `iqpir train` calls them."""
