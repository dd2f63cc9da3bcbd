"""The verdict of a report: questions in order, the figure behind each answer, and one sentence over all of them."""
