-- +goose Up
-- modify "avhub_cursors" table
ALTER TABLE "avhub_cursors" ADD COLUMN "restarts" bigint NOT NULL DEFAULT 0;

-- +goose Down
-- reverse: modify "avhub_cursors" table
ALTER TABLE "avhub_cursors" DROP COLUMN "restarts";
