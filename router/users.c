#include "router/users.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "router/tenant.h"

#define AUTHORIZATION_MAX 8192u

struct user_config {
#define CONF TEL_CONF_MEMBER
#include "router/users.def"
#undef CONF
};

#define CONF(...) TEL_CONF_ITEM(struct user_config, __VA_ARGS__)
static const struct tel_conf_item items[] = {
#include "router/users.def"
};
#undef CONF
const struct tel_conf_table users_conf_table = TEL_CONF_TABLE(items, struct user_config);

struct user {
    char *name, *token;
    char **tenants[2]; /* by need: read, write */
    size_t tenant_count[2];
};

struct users {
    pthread_rwlock_t lock;
    struct user *list;
    size_t count;
};

/* ---- the configuration --------------------------------------------------------------------------- */

static bool is_name(const char *s, const char *others)
{
    for (; *s; s++)
        if (!(*s >= 'a' && *s <= 'z') && !(*s >= 'A' && *s <= 'Z') && !(*s >= '0' && *s <= '9') &&
            !strchr(others, *s))
            return false;
    return true;
}

static const struct user_config *config_of(const struct tel_conf_sections *sections, size_t i)
{
    return TEL_CONF_SECTION(*sections, struct user_config, i);
}

static void check_tenants(const struct tel_conf_strings *tenants, const struct tel_conf_node *node,
                          const char *key, struct tel_conf_mistakes *mistakes)
{
    for (size_t i = 0; i < tenants->len; i++) {
        const char *t = tenants->items[i];
        if (strcmp(t, "*") != 0 && (!*t || strlen(t) > 64 || !is_name(t, "-_.:")))
            tel_conf_mistake(mistakes, node, key,
                             "a tenant is 1 to 64 letters, digits and -_.:, or \"*\" for all");
    }
}

void users_conf_check(const struct tel_conf_sections *sections, struct tel_conf_mistakes *mistakes)
{
    for (size_t i = 0; i < sections->len; i++) {
        const struct user_config *c = config_of(sections, i);
        const struct tel_conf_node *node = sections->nodes[i];
        if (!is_name(c->name, "-_."))
            tel_conf_mistake(mistakes, node, "name",
                             "has characters other than letters, digits and -_.");
        check_tenants(&c->read, node, "read", mistakes);
        check_tenants(&c->write, node, "write", mistakes);
        for (size_t k = 0; k < i; k++) {
            if (strcmp(c->name, config_of(sections, k)->name) == 0)
                tel_conf_mistake(mistakes, node, "name", "\"%s\" has an entry before", c->name);
            if (strcmp(c->token, config_of(sections, k)->token) == 0)
                tel_conf_mistake(mistakes, node, "token", "is another user's, too");
        }
    }
}

static void copy_tenants(struct user *u, enum users_need need, const struct tel_conf_strings *from)
{
    u->tenants[need] = tel_calloc(from->len, sizeof(char *));
    u->tenant_count[need] = from->len;
    for (size_t i = 0; i < from->len; i++)
        u->tenants[need][i] = tel_strdup(from->items[i]);
}

static struct user *copy_list(const struct tel_conf_sections *sections, size_t *ret_count)
{
    *ret_count = sections ? sections->len : 0;
    struct user *list = tel_calloc(*ret_count, sizeof(*list));
    for (size_t i = 0; i < *ret_count; i++) {
        const struct user_config *c = config_of(sections, i);
        list[i].name = tel_strdup(c->name);
        list[i].token = tel_strdup(c->token);
        copy_tenants(&list[i], USERS_READ, &c->read);
        copy_tenants(&list[i], USERS_WRITE, &c->write);
    }
    return list;
}

static void free_list(struct user *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t need = 0; need < 2; need++) {
            for (size_t k = 0; k < list[i].tenant_count[need]; k++)
                free(list[i].tenants[need][k]);
            free(list[i].tenants[need]);
        }
        explicit_bzero(list[i].token, strlen(list[i].token));
        free(list[i].token);
        free(list[i].name);
    }
    free(list);
}

struct users *users_new(const struct tel_conf_sections *sections)
{
    struct users *u = TEL_NEW(struct users);
    pthread_rwlock_init(&u->lock, NULL);
    u->list = copy_list(sections, &u->count);
    return u;
}

void users_set(struct users *u, const struct tel_conf_sections *sections)
{
    size_t count;
    struct user *list = copy_list(sections, &count);
    pthread_rwlock_wrlock(&u->lock);
    struct user *old = u->list;
    size_t old_count = u->count;
    u->list = list;
    u->count = count;
    pthread_rwlock_unlock(&u->lock);
    free_list(old, old_count);
}

void users_free(struct users *u)
{
    if (!u)
        return;
    free_list(u->list, u->count);
    pthread_rwlock_destroy(&u->lock);
    free(u);
}

/* ---- judging --------------------------------------------------------------------------------------- */

/* Takes as long for a wrong text as for a right one of want's length. */
static bool same_text(struct tel_span given, const char *want)
{
    size_t len = strlen(want);
    unsigned char differ = given.len != len;
    for (size_t i = 0; i < len; i++)
        differ |= (unsigned char)(want[i] ^ (i < given.len ? given.ptr[i] : 0));
    return differ == 0;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648, with or without the padding. out has room for 3/4 of the text. */
static bool base64_decode(struct tel_span text, char *out, size_t *ret_len)
{
    while (text.len > 0 && text.ptr[text.len - 1] == '=')
        text.len--;
    unsigned bits = 0, have = 0;
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        int v = base64_value(text.ptr[i]);
        if (v < 0)
            return false;
        bits = (bits << 6 | (unsigned)v) & 0xffff;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[len++] = (char)(bits >> have & 0xff);
        }
    }
    *ret_len = len;
    return text.len % 4 != 1;
}

/* The user whose token it is, or NULL; all are compared. name (ptr NULL: none was given) must be the
 * user's. */
static const struct user *find_user(const struct users *u, struct tel_span name, struct tel_span token)
{
    const struct user *found = NULL;
    for (size_t i = 0; i < u->count; i++) {
        bool same = same_text(token, u->list[i].token);
        if (name.ptr)
            same &= same_text(name, u->list[i].name);
        if (same)
            found = &u->list[i];
    }
    return found;
}

static bool starts_with(struct tel_span s, const char *word)
{
    size_t len = strlen(word);
    return s.len > len && strncasecmp(s.ptr, word, len) == 0;
}

static const struct user *user_of(const struct users *u, struct tel_span authorization)
{
    if (authorization.len > AUTHORIZATION_MAX)
        return NULL;
    if (starts_with(authorization, "Bearer "))
        return find_user(u, (struct tel_span){0}, tel_span_trim(tel_span_slice(authorization, 7, authorization.len)));
    if (!starts_with(authorization, "Basic "))
        return NULL;
    char text[AUTHORIZATION_MAX];
    size_t len;
    const struct user *found = NULL;
    struct tel_span coded = tel_span_trim(tel_span_slice(authorization, 6, authorization.len));
    if (base64_decode(coded, text, &len)) {
        const char *colon = memchr(text, ':', len);
        if (colon) {
            size_t name = (size_t)(colon - text);
            found = find_user(u, tel_span_make(text, name),
                              tel_span_make(colon + 1, len - name - 1));
        }
    }
    explicit_bzero(text, sizeof(text));
    return found;
}

static bool may(const struct user *user, struct tel_span tenant, enum users_need need)
{
    if (need == USERS_ANY)
        return true;
    for (size_t i = 0; i < user->tenant_count[need]; i++) {
        const char *t = user->tenants[need][i];
        if (strcmp(t, "*") == 0 || tel_span_eq_cstr(tenant, t))
            return true;
    }
    return false;
}

enum users_verdict users_judge(struct users *u, struct tel_span authorization,
                               struct tel_span tenant, enum users_need need)
{
    enum users_verdict verdict = USERS_MAY;
    pthread_rwlock_rdlock(&u->lock);
    if (u->count > 0) {
        const struct user *user = user_of(u, authorization);
        verdict = !user                     ? USERS_UNKNOWN
                  : may(user, tenant, need) ? USERS_MAY
                                            : USERS_MAY_NOT;
    }
    pthread_rwlock_unlock(&u->lock);
    return verdict;
}

/* ---- HTTP ------------------------------------------------------------------------------------------ */

static bool is_for_all(struct tel_span path)
{
    return tel_span_eq_cstr(path, "/healthz") || tel_span_eq_cstr(path, "/readyz") ||
           tel_span_eq_cstr(path, "/metrics");
}

/* /insert and what else other systems' clients insert at. */
static enum users_need need_of(struct tel_span path)
{
    static const char *const writes[] = {"/_bulk", "/loki/api/v1/push", "/v1/logs"};
    if (tel_span_starts(path, TEL_SPAN("/insert/")))
        return USERS_WRITE;
    for (size_t i = 0; i < TEL_ARRAY_LEN(writes); i++)
        if (tel_span_eq_cstr(path, writes[i]))
            return USERS_WRITE;
    if (tel_span_eq_cstr(path, "/select/status") || tel_span_eq_cstr(path, "/") ||
        tel_span_starts(path, TEL_SPAN("/page.")))
        return USERS_ANY;
    return USERS_READ;
}

bool users_http_authorize(void *users, struct tel_http_request *req)
{
    struct tel_span path = tel_http_path(req), authorization = {0};
    if (is_for_all(path))
        return true;
    struct tel_span tenant;
    if (tenant_read(req, &tenant, NULL) != TEL_OK)
        tenant = TEL_SPAN("?"); /* nobody's: the handler will refuse it */
    tel_http_header(req, "Authorization", &authorization);
    switch (users_judge(users, authorization, tenant, need_of(path))) {
    case USERS_MAY:
        return true;
    case USERS_UNKNOWN:
        tel_http_reply_header(req, "WWW-Authenticate", TEL_SPAN("Basic realm=\"telescope\""));
        tel_http_reply_error(req, 401, "no such user: send Authorization: Bearer TOKEN, or Basic");
        return false;
    case USERS_MAY_NOT:
        break;
    }
    struct tel_buf text = {0};
    tel_buf_add_escaped(&text, tenant, 64);
    tel_http_reply_error(req, 403, "this user may not %s the tenant %.*s",
                         need_of(path) == USERS_WRITE ? "write to" : "read", (int)text.len, text.ptr);
    tel_buf_free(&text);
    return false;
}
