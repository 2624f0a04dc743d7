#include "router/tenant.h"

#define TENANT_MAX 64

static bool tenant_legal(struct tel_span s)
{
    if (s.len == 0 || s.len > TENANT_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.';
        if (!ok)
            return false;
    }
    return true;
}

tel_code tenant_read(struct tel_http_request *req, struct tel_span *ret, struct tel_error *err)
{
    struct tel_span org, account = TEL_SPAN("0"), project = TEL_SPAN("0");
    unsigned long long a, p;
    if (tel_http_header(req, "X-Scope-OrgID", &org)) {
        if (!tenant_legal(org))
            return tel_error_set(err, TEL_ERR_INVALID,
                                 "X-Scope-OrgID: letters, digits, '-', '_' and '.', 1 to %d of them",
                                 TENANT_MAX);
        *ret = org;
        return TEL_OK;
    }
    bool named = tel_http_header(req, "AccountID", &account);
    named |= tel_http_header(req, "ProjectID", &project);
    account = account.len ? account : TEL_SPAN("0");
    project = project.len ? project : TEL_SPAN("0");
    if (!tel_span_to_u64(account, &a) || !tel_span_to_u64(project, &p) || a > UINT32_MAX ||
        p > UINT32_MAX)
        return tel_error_set(err, TEL_ERR_INVALID, "AccountID and ProjectID are 32-bit numbers");
    *ret = named && (a || p) ? tel_arena_printf(tel_http_arena(req), "%llu:%llu", a, p)
                             : TEL_SPAN("default");
    return TEL_OK;
}
