"""envkit: environments for language-model agents whose reward cannot be had without doing the task."""
