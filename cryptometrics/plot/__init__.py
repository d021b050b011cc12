"""Charts of stored data: their content (`panels`), the points of lines (`points`), axes and figures."""
