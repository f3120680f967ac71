-- +goose Up
-- add column "tenant_id" to table: "avhub_backfill_facts"
ALTER TABLE `avhub_backfill_facts` ADD COLUMN `tenant_id` text NOT NULL DEFAULT '';
UPDATE `avhub_backfill_facts` SET `tenant_id` = coalesce(json_extract(CAST(`fact` AS text), '$.tenant.id'), '') WHERE json_valid(CAST(`fact` AS text));
-- create index "backfillfact_tenant_id_id" to table: "avhub_backfill_facts"
CREATE INDEX `backfillfact_tenant_id_id` ON `avhub_backfill_facts` (`tenant_id`, `id`);
-- drop index "avhub_tenant_databases_behind" from table: "avhub_tenant_databases"
DROP INDEX `avhub_tenant_databases_behind`;
-- add columns to table: "avhub_tenant_databases"
ALTER TABLE `avhub_tenant_databases` ADD COLUMN `facts` integer NOT NULL DEFAULT 0;
ALTER TABLE `avhub_tenant_databases` ADD COLUMN `reapplied` integer NOT NULL DEFAULT 0;
ALTER TABLE `avhub_tenant_databases` ADD COLUMN `calls` integer NOT NULL DEFAULT 0;
ALTER TABLE `avhub_tenant_databases` ADD COLUMN `answered` integer NOT NULL DEFAULT 0;
-- create index "avhub_tenant_databases_behind" to table: "avhub_tenant_databases"
CREATE INDEX `avhub_tenant_databases_behind` ON `avhub_tenant_databases` (`next_at`) WHERE target > position OR calls > answered;
-- drop index "tenantperson_tenant_id_latest" from table: "avhub_tenant_people"
DROP INDEX `tenantperson_tenant_id_latest`;
-- create index "tenantperson_tenant_id_latest_sub" to table: "avhub_tenant_people"
CREATE INDEX `tenantperson_tenant_id_latest_sub` ON `avhub_tenant_people` (`tenant_id`, `latest`, `sub`);
-- create "avhub_reapplied_events" table
CREATE TABLE `avhub_reapplied_events` (`id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `position` integer NOT NULL, `tenant_id` text NOT NULL DEFAULT (''), `tenant_key` text NOT NULL);
-- create index "reappliedevent_tenant_id_id" to table: "avhub_reapplied_events"
CREATE INDEX `reappliedevent_tenant_id_id` ON `avhub_reapplied_events` (`tenant_id`, `id`);

-- +goose Down
-- reverse: create index "reappliedevent_tenant_id_id" to table: "avhub_reapplied_events"
DROP INDEX `reappliedevent_tenant_id_id`;
-- reverse: create "avhub_reapplied_events" table
DROP TABLE `avhub_reapplied_events`;
-- reverse: create index "tenantperson_tenant_id_latest_sub" to table: "avhub_tenant_people"
DROP INDEX `tenantperson_tenant_id_latest_sub`;
-- reverse: drop index "tenantperson_tenant_id_latest" from table: "avhub_tenant_people"
CREATE INDEX `tenantperson_tenant_id_latest` ON `avhub_tenant_people` (`tenant_id`, `latest`);
-- reverse: create index "avhub_tenant_databases_behind" to table: "avhub_tenant_databases"
DROP INDEX `avhub_tenant_databases_behind`;
-- reverse: add columns to table: "avhub_tenant_databases"
ALTER TABLE `avhub_tenant_databases` DROP COLUMN `answered`;
ALTER TABLE `avhub_tenant_databases` DROP COLUMN `calls`;
ALTER TABLE `avhub_tenant_databases` DROP COLUMN `reapplied`;
ALTER TABLE `avhub_tenant_databases` DROP COLUMN `facts`;
-- reverse: drop index "avhub_tenant_databases_behind" from table: "avhub_tenant_databases"
CREATE INDEX `avhub_tenant_databases_behind` ON `avhub_tenant_databases` (`next_at`) WHERE target > position;
-- reverse: create index "backfillfact_tenant_id_id" to table: "avhub_backfill_facts"
DROP INDEX `backfillfact_tenant_id_id`;
-- reverse: add column "tenant_id" to table: "avhub_backfill_facts"
ALTER TABLE `avhub_backfill_facts` DROP COLUMN `tenant_id`;
