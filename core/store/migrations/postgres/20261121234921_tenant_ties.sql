-- +goose Up
-- modify "avhub_tenant_people" table
ALTER TABLE "avhub_tenant_people" ADD COLUMN "since" bigint NOT NULL DEFAULT 0, ADD COLUMN "latest" bigint NOT NULL DEFAULT 0;
-- create index "tenantperson_tenant_id_latest" to table: "avhub_tenant_people"
CREATE INDEX "tenantperson_tenant_id_latest" ON "avhub_tenant_people" ("tenant_id", "latest");

-- +goose Down
-- reverse: create index "tenantperson_tenant_id_latest" to table: "avhub_tenant_people"
DROP INDEX "tenantperson_tenant_id_latest";
-- reverse: modify "avhub_tenant_people" table
ALTER TABLE "avhub_tenant_people" DROP COLUMN "latest", DROP COLUMN "since";
