"""The audit: proof, without a model, that a reward can't be had without doing the task."""
