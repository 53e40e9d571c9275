"""What a number is: metrics, their signatures, and the view that decides which pixels they see."""
