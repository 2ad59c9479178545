"""What goes into a data set: foregrounds with their alphas, and backgrounds known to show nobody."""
