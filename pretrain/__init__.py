"""Makes MSSS weights from any unlabelled audio."""
