"""What the arms of an ablation of IQPIR are worth: held-out photographs, scores, tables with intervals, figures."""
