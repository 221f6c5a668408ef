"""Single answers: each beside the same request of the control and beside what the capture had."""
