-- +goose Up
-- modify "avhub_cursors" table
ALTER TABLE "avhub_cursors" ADD COLUMN "breaker" bigint NOT NULL DEFAULT 0;
-- modify "avhub_lanes" table
ALTER TABLE "avhub_lanes" ADD COLUMN "spent" bigint NOT NULL DEFAULT 0, ADD COLUMN "failed_at" bigint NOT NULL DEFAULT 0, ADD COLUMN "parked" bigint NOT NULL DEFAULT 0;

-- +goose Down
-- reverse: modify "avhub_lanes" table
ALTER TABLE "avhub_lanes" DROP COLUMN "parked", DROP COLUMN "failed_at", DROP COLUMN "spent";
-- reverse: modify "avhub_cursors" table
ALTER TABLE "avhub_cursors" DROP COLUMN "breaker";
