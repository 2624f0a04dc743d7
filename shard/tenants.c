#include "shard/tenants.h"

#include "common/base/mem.h"

struct tenant_config {
#define CONF TEL_CONF_MEMBER
#include "shard/tenants.def"
#undef CONF
};

#define CONF(...) TEL_CONF_ITEM(struct tenant_config, __VA_ARGS__)
static const struct tel_conf_item items[] = {
#include "shard/tenants.def"
};
#undef CONF
const struct tel_conf_table shard_tenants_table = TEL_CONF_TABLE(items, struct tenant_config);

static const char *name_of(const struct tel_conf_sections *sections, size_t i)
{
    return TEL_CONF_SECTION(*sections, struct tenant_config, i)->tenant;
}

static bool is_name(const char *s)
{
    for (; *s; s++)
        if (!(*s >= 'a' && *s <= 'z') && !(*s >= 'A' && *s <= 'Z') && !(*s >= '0' && *s <= '9') &&
            !strchr("-_.:", *s))
            return false;
    return true;
}

void shard_tenants_check(const struct tel_conf_sections *sections,
                         struct tel_conf_mistakes *mistakes)
{
    for (size_t i = 0; i < sections->len; i++) {
        const char *name = name_of(sections, i);
        if (!is_name(name))
            tel_conf_mistake(mistakes, sections->nodes[i], "tenant",
                             "has characters other than letters, digits and -_.:");
        for (size_t j = 0; j < i; j++)
            if (strcmp(name, name_of(sections, j)) == 0) {
                tel_conf_mistake(mistakes, sections->nodes[i], "tenant",
                                 "\"%s\" has an entry before", name);
                break;
            }
    }
}

struct retention_tenant *shard_tenants_rules(const struct tel_conf_sections *sections)
{
    struct retention_tenant *list = tel_calloc(sections->len, sizeof(*list));
    for (size_t i = 0; i < sections->len; i++) {
        const struct tenant_config *c = TEL_CONF_SECTION(*sections, struct tenant_config, i);
        list[i] = (struct retention_tenant){c->tenant, (int32_t)c->days, (uint64_t)c->bytes};
    }
    return list;
}
