"""Check what often goes wrong on a machine and in its services, and say how to fix it. Changes nothing."""
