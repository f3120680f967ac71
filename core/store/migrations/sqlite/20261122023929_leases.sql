-- +goose Up
-- rebuild "avhub_cursors": a plugin's cursor is that of its only partition
CREATE TABLE `new_avhub_cursors` (`id` text NOT NULL, `plugin` text NOT NULL, `partition` integer NOT NULL DEFAULT (0), `position` integer NOT NULL DEFAULT (0), `epoch` integer NOT NULL DEFAULT (0), `owner` text NOT NULL DEFAULT (''), `expires_at` integer NOT NULL DEFAULT (0), `floors` blob NULL, `state` text NOT NULL DEFAULT (''), `reason` text NOT NULL DEFAULT (''), `version` text NOT NULL DEFAULT (''), `restarts` integer NOT NULL DEFAULT (0), `config_hash` text NOT NULL DEFAULT (''), `updated_at` integer NOT NULL DEFAULT (0), PRIMARY KEY (`id`));
INSERT INTO `new_avhub_cursors` (`id`, `plugin`, `position`, `epoch`, `owner`, `state`, `reason`, `version`, `restarts`, `config_hash`, `updated_at`) SELECT `plugin` || '/0', `plugin`, `position`, `epoch`, `owner`, `state`, `reason`, `version`, `restarts`, `config_hash`, `updated_at` FROM `avhub_cursors`;
DROP TABLE `avhub_cursors`;
ALTER TABLE `new_avhub_cursors` RENAME TO `avhub_cursors`;
-- modify "avhub_dead_letters" table
ALTER TABLE `avhub_dead_letters` ADD COLUMN `slot` integer NOT NULL DEFAULT -1;
-- create index "avhub_dead_letters_slotless" to table: "avhub_dead_letters"
CREATE INDEX `avhub_dead_letters_slotless` ON `avhub_dead_letters` (`plugin`) WHERE slot < 0;
-- modify "avhub_lanes" table
ALTER TABLE `avhub_lanes` ADD COLUMN `slot` integer NOT NULL DEFAULT -1;
-- create index "avhub_lanes_slotless" to table: "avhub_lanes"
CREATE INDEX `avhub_lanes_slotless` ON `avhub_lanes` (`plugin`) WHERE slot < 0;
-- create "avhub_hubs" table
CREATE TABLE `avhub_hubs` (`id` text NOT NULL, `name` text NOT NULL, `started` integer NOT NULL DEFAULT (0), `expires_at` integer NOT NULL DEFAULT (0), PRIMARY KEY (`id`));
-- create "avhub_plugins" table
CREATE TABLE `avhub_plugins` (`id` text NOT NULL, `partitions` integer NOT NULL DEFAULT (1), `paused` bool NOT NULL DEFAULT (false), `pause_reason` text NOT NULL DEFAULT (''), `needs_backfill` integer NOT NULL DEFAULT (0), `restart` integer NOT NULL DEFAULT (0), `updated_at` integer NOT NULL DEFAULT (0), PRIMARY KEY (`id`));
-- every plugin that has a cursor
INSERT INTO `avhub_plugins` (`id`) SELECT `plugin` FROM `avhub_cursors`;

-- +goose Down
-- reverse: create "avhub_plugins" table
DROP TABLE `avhub_plugins`;
-- reverse: create "avhub_hubs" table
DROP TABLE `avhub_hubs`;
-- reverse: modify "avhub_lanes" table
DROP INDEX `avhub_lanes_slotless`;
ALTER TABLE `avhub_lanes` DROP COLUMN `slot`;
-- reverse: modify "avhub_dead_letters" table
DROP INDEX `avhub_dead_letters_slotless`;
ALTER TABLE `avhub_dead_letters` DROP COLUMN `slot`;
-- reverse: rebuild "avhub_cursors": all partitions start where the last of them stands
CREATE TABLE `new_avhub_cursors` (`plugin` text NOT NULL, `position` integer NOT NULL DEFAULT (0), `epoch` integer NOT NULL DEFAULT (0), `owner` text NOT NULL DEFAULT (''), `state` text NOT NULL DEFAULT (''), `reason` text NOT NULL DEFAULT (''), `version` text NOT NULL DEFAULT (''), `restarts` integer NOT NULL DEFAULT 0, `config_hash` text NOT NULL DEFAULT (''), `updated_at` integer NOT NULL DEFAULT (0), PRIMARY KEY (`plugin`));
INSERT INTO `new_avhub_cursors` SELECT `plugin`, MIN(`position`), MAX(`epoch`), MAX(`owner`), MAX(`state`), MAX(`reason`), MAX(`version`), MAX(`restarts`), MAX(`config_hash`), MAX(`updated_at`) FROM `avhub_cursors` GROUP BY `plugin`;
DROP TABLE `avhub_cursors`;
ALTER TABLE `new_avhub_cursors` RENAME TO `avhub_cursors`;
