-- Deaths of a bot that a task is only suspected of, and deaths of the whole hive.
ALTER TABLE tasks ADD COLUMN suspicions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN hive_deaths INTEGER NOT NULL DEFAULT 0;
