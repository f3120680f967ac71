-- +goose Up
-- disable the enforcement of foreign-keys constraints
PRAGMA foreign_keys = off;
-- create "new_avhub_tenant_people" table
CREATE TABLE `new_avhub_tenant_people` (`id` text NOT NULL, `tenant_id` text NOT NULL, `sub` text NOT NULL, `since` integer NOT NULL DEFAULT (0), `latest` integer NOT NULL DEFAULT (0), PRIMARY KEY (`id`));
-- copy rows from old table "avhub_tenant_people" to new temporary table "new_avhub_tenant_people"
INSERT INTO `new_avhub_tenant_people` (`id`, `tenant_id`, `sub`) SELECT `id`, `tenant_id`, `sub` FROM `avhub_tenant_people`;
-- drop "avhub_tenant_people" table after copying rows
DROP TABLE `avhub_tenant_people`;
-- rename temporary table "new_avhub_tenant_people" to "avhub_tenant_people"
ALTER TABLE `new_avhub_tenant_people` RENAME TO `avhub_tenant_people`;
-- create index "tenantperson_sub" to table: "avhub_tenant_people"
CREATE INDEX `tenantperson_sub` ON `avhub_tenant_people` (`sub`);
-- create index "tenantperson_tenant_id_latest" to table: "avhub_tenant_people"
CREATE INDEX `tenantperson_tenant_id_latest` ON `avhub_tenant_people` (`tenant_id`, `latest`);
-- enable back the enforcement of foreign-keys constraints
PRAGMA foreign_keys = on;

-- +goose Down
-- reverse: create index "tenantperson_tenant_id_latest" to table: "avhub_tenant_people"
DROP INDEX `tenantperson_tenant_id_latest`;
-- reverse: create index "tenantperson_sub" to table: "avhub_tenant_people"
DROP INDEX `tenantperson_sub`;
-- reverse: create "new_avhub_tenant_people" table
DROP TABLE `new_avhub_tenant_people`;
