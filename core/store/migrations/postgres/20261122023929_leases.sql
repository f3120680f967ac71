-- +goose Up
-- modify "avhub_cursors" table: a plugin's cursor is that of its only partition
ALTER TABLE "avhub_cursors" ADD COLUMN "id" text NULL, ADD COLUMN "partition" bigint NOT NULL DEFAULT 0, ADD COLUMN "expires_at" bigint NOT NULL DEFAULT 0, ADD COLUMN "floors" bytea NULL;
UPDATE "avhub_cursors" SET "id" = "plugin" || '/0';
ALTER TABLE "avhub_cursors" DROP CONSTRAINT "avhub_cursors_pkey", ALTER COLUMN "id" SET NOT NULL, ADD PRIMARY KEY ("id");
-- modify "avhub_dead_letters" table
ALTER TABLE "avhub_dead_letters" ADD COLUMN "slot" bigint NOT NULL DEFAULT -1;
-- create index "avhub_dead_letters_slotless" to table: "avhub_dead_letters"
CREATE INDEX "avhub_dead_letters_slotless" ON "avhub_dead_letters" ("plugin") WHERE (slot < 0);
-- modify "avhub_lanes" table
ALTER TABLE "avhub_lanes" ADD COLUMN "slot" bigint NOT NULL DEFAULT -1;
-- create index "avhub_lanes_slotless" to table: "avhub_lanes"
CREATE INDEX "avhub_lanes_slotless" ON "avhub_lanes" ("plugin") WHERE (slot < 0);
-- create "avhub_hubs" table
CREATE TABLE "avhub_hubs" ("id" text NOT NULL, "name" text NOT NULL, "started" bigint NOT NULL DEFAULT 0, "expires_at" bigint NOT NULL DEFAULT 0, PRIMARY KEY ("id"));
-- create "avhub_plugins" table
CREATE TABLE "avhub_plugins" ("id" text NOT NULL, "partitions" bigint NOT NULL DEFAULT 1, "paused" boolean NOT NULL DEFAULT false, "pause_reason" text NOT NULL DEFAULT '', "needs_backfill" bigint NOT NULL DEFAULT 0, "restart" bigint NOT NULL DEFAULT 0, "updated_at" bigint NOT NULL DEFAULT 0, PRIMARY KEY ("id"));
-- every plugin that has a cursor
INSERT INTO "avhub_plugins" ("id") SELECT "plugin" FROM "avhub_cursors";

-- +goose Down
-- reverse: create "avhub_plugins" table
DROP TABLE "avhub_plugins";
-- reverse: create "avhub_hubs" table
DROP TABLE "avhub_hubs";
-- reverse: create index "avhub_lanes_slotless" to table: "avhub_lanes"
DROP INDEX "avhub_lanes_slotless";
-- reverse: modify "avhub_lanes" table
ALTER TABLE "avhub_lanes" DROP COLUMN "slot";
-- reverse: create index "avhub_dead_letters_slotless" to table: "avhub_dead_letters"
DROP INDEX "avhub_dead_letters_slotless";
-- reverse: modify "avhub_dead_letters" table
ALTER TABLE "avhub_dead_letters" DROP COLUMN "slot";
-- reverse: modify "avhub_cursors" table: all partitions start where the last of them stands
UPDATE "avhub_cursors" SET "position" = (SELECT MIN(o."position") FROM "avhub_cursors" o WHERE o."plugin" = "avhub_cursors"."plugin");
DELETE FROM "avhub_cursors" WHERE "partition" > 0;
ALTER TABLE "avhub_cursors" DROP CONSTRAINT "avhub_cursors_pkey", DROP COLUMN "floors", DROP COLUMN "expires_at", DROP COLUMN "partition", DROP COLUMN "id", ADD PRIMARY KEY ("plugin");
