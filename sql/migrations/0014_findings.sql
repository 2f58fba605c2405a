-- One fault, one finding: causes say how dangerous they are and what they explain.
drop function if exists qctl.health_causes();
