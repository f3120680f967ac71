-- +goose Up
-- add column "state_schema" to table: "avhub_plugins"
ALTER TABLE `avhub_plugins` ADD COLUMN `state_schema` blob NULL;

-- +goose Down
-- reverse: add column "state_schema" to table: "avhub_plugins"
ALTER TABLE `avhub_plugins` DROP COLUMN `state_schema`;
