-- +goose Up
-- modify "avhub_hubs" table
ALTER TABLE `avhub_hubs` ADD COLUMN `plugins` text NOT NULL DEFAULT '';
-- modify "avhub_plugins" table
ALTER TABLE `avhub_plugins` ADD COLUMN `keyed_by` text NOT NULL DEFAULT '';

-- +goose Down
-- reverse: modify "avhub_plugins" table
ALTER TABLE `avhub_plugins` DROP COLUMN `keyed_by`;
-- reverse: modify "avhub_hubs" table
ALTER TABLE `avhub_hubs` DROP COLUMN `plugins`;
