"""`Event` to sink: journal, couriers, receipts."""
