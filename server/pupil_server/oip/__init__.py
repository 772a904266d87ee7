"""The Open Inference Protocol v2 as Triton speaks it: a facade over the models that pupil.v1 serves."""
