-- Who is confined to the tasks of a bot lists them without a look at others. A status in
-- this condition would have the index looked after by every change of a task: it would
-- cost six times as much.
CREATE INDEX tasks_of_bot ON tasks (bot) WHERE bot IS NOT NULL;
