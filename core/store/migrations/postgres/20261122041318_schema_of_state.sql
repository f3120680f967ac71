-- +goose Up
-- modify "avhub_plugins" table
ALTER TABLE "avhub_plugins" ADD COLUMN "state_schema" bytea NULL;

-- +goose Down
-- reverse: modify "avhub_plugins" table
ALTER TABLE "avhub_plugins" DROP COLUMN "state_schema";
