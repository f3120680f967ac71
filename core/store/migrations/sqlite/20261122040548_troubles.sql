-- +goose Up
-- disable the enforcement of foreign-keys constraints
PRAGMA foreign_keys = off;
-- create "new_avhub_lanes" table
CREATE TABLE `new_avhub_lanes` (`id` text NOT NULL, `plugin` text NOT NULL, `key` text NOT NULL, `slot` integer NOT NULL DEFAULT (-1), `head` integer NOT NULL, `attempts` integer NOT NULL DEFAULT (0), `since` integer NOT NULL DEFAULT (0), `next_at` integer NOT NULL DEFAULT (0), `spent` integer NOT NULL DEFAULT (0), `failed_at` integer NOT NULL DEFAULT (0), `parked` integer NOT NULL DEFAULT (0), `last_error` text NOT NULL DEFAULT (''), `history` blob NULL, `discard` integer NOT NULL DEFAULT (0), PRIMARY KEY (`id`));
-- copy rows from old table "avhub_lanes" to new temporary table "new_avhub_lanes"
INSERT INTO `new_avhub_lanes` (`id`, `plugin`, `key`, `slot`, `head`, `attempts`, `since`, `next_at`, `last_error`, `history`, `discard`) SELECT `id`, `plugin`, `key`, `slot`, `head`, `attempts`, `since`, `next_at`, `last_error`, `history`, `discard` FROM `avhub_lanes`;
-- drop "avhub_lanes" table after copying rows
DROP TABLE `avhub_lanes`;
-- rename temporary table "new_avhub_lanes" to "avhub_lanes"
ALTER TABLE `new_avhub_lanes` RENAME TO `avhub_lanes`;
-- create index "lane_plugin_next_at" to table: "avhub_lanes"
CREATE INDEX `lane_plugin_next_at` ON `avhub_lanes` (`plugin`, `next_at`);
-- create index "lane_plugin_head" to table: "avhub_lanes"
CREATE INDEX `lane_plugin_head` ON `avhub_lanes` (`plugin`, `head`);
-- create index "avhub_lanes_slotless" to table: "avhub_lanes"
CREATE INDEX `avhub_lanes_slotless` ON `avhub_lanes` (`plugin`) WHERE slot < 0;
-- create "new_avhub_cursors" table
CREATE TABLE `new_avhub_cursors` (`id` text NOT NULL, `plugin` text NOT NULL, `partition` integer NOT NULL DEFAULT (0), `position` integer NOT NULL DEFAULT (0), `epoch` integer NOT NULL DEFAULT (0), `owner` text NOT NULL DEFAULT (''), `expires_at` integer NOT NULL DEFAULT (0), `floors` blob NULL, `state` text NOT NULL DEFAULT (''), `reason` text NOT NULL DEFAULT (''), `version` text NOT NULL DEFAULT (''), `restarts` integer NOT NULL DEFAULT (0), `config_hash` text NOT NULL DEFAULT (''), `breaker` integer NOT NULL DEFAULT (0), `updated_at` integer NOT NULL DEFAULT (0), PRIMARY KEY (`id`));
-- copy rows from old table "avhub_cursors" to new temporary table "new_avhub_cursors"
INSERT INTO `new_avhub_cursors` (`id`, `plugin`, `partition`, `position`, `epoch`, `owner`, `expires_at`, `floors`, `state`, `reason`, `version`, `restarts`, `config_hash`, `updated_at`) SELECT `id`, `plugin`, `partition`, `position`, `epoch`, `owner`, `expires_at`, `floors`, `state`, `reason`, `version`, `restarts`, `config_hash`, `updated_at` FROM `avhub_cursors`;
-- drop "avhub_cursors" table after copying rows
DROP TABLE `avhub_cursors`;
-- rename temporary table "new_avhub_cursors" to "avhub_cursors"
ALTER TABLE `new_avhub_cursors` RENAME TO `avhub_cursors`;
-- enable back the enforcement of foreign-keys constraints
PRAGMA foreign_keys = on;

-- +goose Down
-- reverse: create "new_avhub_cursors" table
DROP TABLE `new_avhub_cursors`;
-- reverse: create index "avhub_lanes_slotless" to table: "avhub_lanes"
DROP INDEX `avhub_lanes_slotless`;
-- reverse: create index "lane_plugin_head" to table: "avhub_lanes"
DROP INDEX `lane_plugin_head`;
-- reverse: create index "lane_plugin_next_at" to table: "avhub_lanes"
DROP INDEX `lane_plugin_next_at`;
-- reverse: create "new_avhub_lanes" table
DROP TABLE `new_avhub_lanes`;
