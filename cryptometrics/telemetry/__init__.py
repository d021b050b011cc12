"""What a running command tells about itself: measured per batch, served to Prometheus."""
