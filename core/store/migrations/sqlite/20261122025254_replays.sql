-- +goose Up
-- add column "replay" to table: "avhub_dead_letters"
ALTER TABLE `avhub_dead_letters` ADD COLUMN `replay` integer NOT NULL DEFAULT (0);
-- drop index "deadletter_plugin_position" from table: "avhub_dead_letters"
DROP INDEX `deadletter_plugin_position`;
-- create index "deadletter_plugin_position_event_id" to table: "avhub_dead_letters"
CREATE UNIQUE INDEX `deadletter_plugin_position_event_id` ON `avhub_dead_letters` (`plugin`, `position`, `event_id`);
-- add columns to table: "avhub_plugins"
ALTER TABLE `avhub_plugins` ADD COLUMN `start_position` integer NOT NULL DEFAULT (0);
ALTER TABLE `avhub_plugins` ADD COLUMN `events` blob NULL;
ALTER TABLE `avhub_plugins` ADD COLUMN `ordering` text NOT NULL DEFAULT ('');
-- create "avhub_replays" table
CREATE TABLE `avhub_replays` (`id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `plugin` text NOT NULL, `kind` text NOT NULL, `state` text NOT NULL DEFAULT ('running'), `reason` text NOT NULL DEFAULT (''), `after` integer NOT NULL DEFAULT (0), `until` integer NOT NULL DEFAULT (0), `since` integer NOT NULL DEFAULT (0), `before` integer NOT NULL DEFAULT (0), `types` blob NULL, `tenant` text NOT NULL DEFAULT (''), `key` text NOT NULL DEFAULT (''), `rate` integer NOT NULL DEFAULT (0), `partitions` integer NOT NULL DEFAULT (1), `created_at` integer NOT NULL DEFAULT (0), `finished_at` integer NOT NULL DEFAULT (0));
-- create index "replay_plugin_state" to table: "avhub_replays"
CREATE INDEX `replay_plugin_state` ON `avhub_replays` (`plugin`, `state`);
-- create "avhub_replay_parts" table
CREATE TABLE `avhub_replay_parts` (`id` text NOT NULL, `replay` integer NOT NULL, `partition` integer NOT NULL, `position` integer NOT NULL DEFAULT (0), `place` text NOT NULL DEFAULT (''), `ahead` blob NULL, `applied` integer NOT NULL DEFAULT (0), `skipped` integer NOT NULL DEFAULT (0), `failed` integer NOT NULL DEFAULT (0), `deferred` integer NOT NULL DEFAULT (0), `done` bool NOT NULL DEFAULT (false), `updated_at` integer NOT NULL DEFAULT (0), PRIMARY KEY (`id`));
-- create index "replaypart_replay" to table: "avhub_replay_parts"
CREATE INDEX `replaypart_replay` ON `avhub_replay_parts` (`replay`);

-- +goose Down
-- reverse: create index "replaypart_replay" to table: "avhub_replay_parts"
DROP INDEX `replaypart_replay`;
-- reverse: create "avhub_replay_parts" table
DROP TABLE `avhub_replay_parts`;
-- reverse: create index "replay_plugin_state" to table: "avhub_replays"
DROP INDEX `replay_plugin_state`;
-- reverse: create "avhub_replays" table
DROP TABLE `avhub_replays`;
-- reverse: add columns to table: "avhub_plugins"
ALTER TABLE `avhub_plugins` DROP COLUMN `ordering`;
ALTER TABLE `avhub_plugins` DROP COLUMN `events`;
ALTER TABLE `avhub_plugins` DROP COLUMN `start_position`;
-- reverse: create index "deadletter_plugin_position_event_id" to table: "avhub_dead_letters"
DROP INDEX `deadletter_plugin_position_event_id`;
-- what failed in replays of snapshots shares a position
DELETE FROM `avhub_dead_letters` WHERE `replay` > 0;
-- reverse: drop index "deadletter_plugin_position" from table: "avhub_dead_letters"
CREATE UNIQUE INDEX `deadletter_plugin_position` ON `avhub_dead_letters` (`plugin`, `position`);
-- reverse: add column "replay" to table: "avhub_dead_letters"
ALTER TABLE `avhub_dead_letters` DROP COLUMN `replay`;
