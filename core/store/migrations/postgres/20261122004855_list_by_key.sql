-- +goose Up
-- drop index "appaccess_application_id" from table: "av_app_access"
DROP INDEX "appaccess_application_id";
-- drop index "appaccess_organization_id" from table: "av_app_access"
DROP INDEX "appaccess_organization_id";
-- create index "appaccess_application_id_id" to table: "av_app_access"
CREATE INDEX "appaccess_application_id_id" ON "av_app_access" ("application_id", "id");
-- create index "appaccess_filters" to table: "av_app_access"
CREATE INDEX "appaccess_filters" ON "av_app_access" ("id", "has_access", "role_slug");
-- create index "appaccess_organization_id_id_has_access_role_slug" to table: "av_app_access"
CREATE INDEX "appaccess_organization_id_id_has_access_role_slug" ON "av_app_access" ("organization_id", "id", "has_access", "role_slug");
-- drop index "identity_tenant_id" from table: "av_identities"
DROP INDEX "identity_tenant_id";
-- create index "identity_filters" to table: "av_identities"
CREATE INDEX "identity_filters" ON "av_identities" ("sub", "is_active", "has_app_access", "app_role", "subject_type");
-- create index "identity_tenant_id_sub" to table: "av_identities"
CREATE INDEX "identity_tenant_id_sub" ON "av_identities" ("tenant_id", "sub");
-- drop index "license_application_id" from table: "av_licenses"
DROP INDEX "license_application_id";
-- drop index "license_organization_id_status" from table: "av_licenses"
DROP INDEX "license_organization_id_status";
-- create index "license_application_id_assignment_id" to table: "av_licenses"
CREATE INDEX "license_application_id_assignment_id" ON "av_licenses" ("application_id", "assignment_id");
-- create index "license_filters" to table: "av_licenses"
CREATE INDEX "license_filters" ON "av_licenses" ("assignment_id", "status", "license_type_id");
-- create index "license_organization_id_assignment_id_status_license_type_id" to table: "av_licenses"
CREATE INDEX "license_organization_id_assignment_id_status_license_type_id" ON "av_licenses" ("organization_id", "assignment_id", "status", "license_type_id");
-- drop index "membership_identity_id" from table: "av_memberships"
DROP INDEX "membership_identity_id";
-- drop index "membership_organization_id" from table: "av_memberships"
DROP INDEX "membership_organization_id";
-- create index "membership_identity_id_organization_id" to table: "av_memberships"
CREATE INDEX "membership_identity_id_organization_id" ON "av_memberships" ("identity_id", "organization_id");
-- create index "membership_not_active" to table: "av_memberships"
CREATE INDEX "membership_not_active" ON "av_memberships" ("membership_id") WHERE (status <> 'active'::text);
-- create index "membership_organization_id_membership_id_status" to table: "av_memberships"
CREATE INDEX "membership_organization_id_membership_id_status" ON "av_memberships" ("organization_id", "membership_id", "status");

-- +goose Down
-- reverse: create index "membership_organization_id_membership_id_status" to table: "av_memberships"
DROP INDEX "membership_organization_id_membership_id_status";
-- reverse: create index "membership_not_active" to table: "av_memberships"
DROP INDEX "membership_not_active";
-- reverse: create index "membership_identity_id_organization_id" to table: "av_memberships"
DROP INDEX "membership_identity_id_organization_id";
-- reverse: drop index "membership_organization_id" from table: "av_memberships"
CREATE INDEX "membership_organization_id" ON "av_memberships" ("organization_id");
-- reverse: drop index "membership_identity_id" from table: "av_memberships"
CREATE INDEX "membership_identity_id" ON "av_memberships" ("identity_id");
-- reverse: create index "license_organization_id_assignment_id_status_license_type_id" to table: "av_licenses"
DROP INDEX "license_organization_id_assignment_id_status_license_type_id";
-- reverse: create index "license_filters" to table: "av_licenses"
DROP INDEX "license_filters";
-- reverse: create index "license_application_id_assignment_id" to table: "av_licenses"
DROP INDEX "license_application_id_assignment_id";
-- reverse: drop index "license_organization_id_status" from table: "av_licenses"
CREATE INDEX "license_organization_id_status" ON "av_licenses" ("organization_id", "status");
-- reverse: drop index "license_application_id" from table: "av_licenses"
CREATE INDEX "license_application_id" ON "av_licenses" ("application_id");
-- reverse: create index "identity_tenant_id_sub" to table: "av_identities"
DROP INDEX "identity_tenant_id_sub";
-- reverse: create index "identity_filters" to table: "av_identities"
DROP INDEX "identity_filters";
-- reverse: drop index "identity_tenant_id" from table: "av_identities"
CREATE INDEX "identity_tenant_id" ON "av_identities" ("tenant_id");
-- reverse: create index "appaccess_organization_id_id_has_access_role_slug" to table: "av_app_access"
DROP INDEX "appaccess_organization_id_id_has_access_role_slug";
-- reverse: create index "appaccess_filters" to table: "av_app_access"
DROP INDEX "appaccess_filters";
-- reverse: create index "appaccess_application_id_id" to table: "av_app_access"
DROP INDEX "appaccess_application_id_id";
-- reverse: drop index "appaccess_organization_id" from table: "av_app_access"
CREATE INDEX "appaccess_organization_id" ON "av_app_access" ("organization_id");
-- reverse: drop index "appaccess_application_id" from table: "av_app_access"
CREATE INDEX "appaccess_application_id" ON "av_app_access" ("application_id");
