/*
 * The web page: three files, embedded. It asks only this server, runs only its own script, and is
 * shown in no frame; what comes from logs is put in as text, never as markup.
 */
#include "router/select_internal.h"

extern const unsigned char router_page_html[], router_page_js[], router_page_css[];
extern const size_t router_page_html_len, router_page_js_len, router_page_css_len;

static void reply(struct tel_http_request *req, const char *type, const unsigned char *data,
                  size_t len)
{
    tel_http_reply_header(req, "Content-Security-Policy",
                          TEL_SPAN("default-src 'none'; script-src 'self'; style-src 'self'; "
                                   "connect-src 'self'; img-src data:; base-uri 'none'; "
                                   "form-action 'none'; frame-ancestors 'none'"));
    tel_http_reply_header(req, "X-Content-Type-Options", TEL_SPAN("nosniff"));
    tel_http_reply_header(req, "Referrer-Policy", TEL_SPAN("no-referrer"));
    tel_http_reply(req, 200, type, tel_span_make(data, len));
}

void select_page_handler(void *ctx, struct tel_http_request *req)
{
    (void)ctx;
    struct tel_span path = tel_http_path(req);
    if (tel_span_eq_cstr(path, "/page.js"))
        reply(req, "text/javascript; charset=utf-8", router_page_js, router_page_js_len);
    else if (tel_span_eq_cstr(path, "/page.css"))
        reply(req, "text/css; charset=utf-8", router_page_css, router_page_css_len);
    else
        reply(req, "text/html; charset=utf-8", router_page_html, router_page_html_len);
}
