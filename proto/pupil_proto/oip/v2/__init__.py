"""Version 2 of the Open Inference Protocol as Triton speaks it; `service.proto` says how it differs from theirs."""
