"""What a column of Arrow values can be asked: does it keep its constraints, repeat its keys."""
