"""Feeds of ticks: the simulator, exchanges behind one interface, recordings and their replay."""
