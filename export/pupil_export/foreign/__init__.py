"""Any ONNX classifier in, bundles out."""
