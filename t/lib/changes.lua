-- Everything that changes a request, for differential-changes.t.
--
-- Each list holds { label, f } in the order in which it is done.

local _M = {}


-- Where a request may be changed: rewrite, access, content before the response.
_M.request = {
    { "set_uri", function () ngx.req.set_uri("/s/set uri\195\169") end },
    { "set_uri, as it was", function () ngx.req.set_uri("/s") end },
    { "set_uri, binary", function () ngx.req.set_uri("/s\1\2", false, true) end,
      may_fail = true },
    { "set_uri_args, string", function () ngx.req.set_uri_args("a=2&b=3&own=x") end },
    { "set_uri_args, table", function () ngx.req.set_uri_args { a = { 1, 2 }, ["e e"] = "f&f" } end },
    { "set_uri_args, empty", function () ngx.req.set_uri_args("") end },
    { "set_uri_args, long", function () ngx.req.set_uri_args("a=" .. ("y"):rep(5000)) end },

    { "set_header Host", function () ngx.req.set_header("Host", "set.host.test:99") end },
    { "set_header Host, again", function () ngx.req.set_header("host", "OTHER.test") end },
    { "set_header User-Agent", function () ngx.req.set_header("User-Agent", "MSIE 6.0") end },
    { "set_header Cookie", function () ngx.req.set_header("Cookie", "a=set; none=x") end },
    { "set_header Cookie, twice", function () ngx.req.set_header("Cookie", { "a=one", "a=two; b=3" }) end },
    { "set_header X-Forwarded-For", function () ngx.req.set_header("X-Forwarded-For", { "9.9.9.9", "8.8.8.8" }) end },
    { "set_header X-Real-IP", function () ngx.req.set_header("X-Real-IP", "10.9.9.9") end },
    { "set_header Referer", function () ngx.req.set_header("Referer", "http://evil.test/") end },
    { "set_header Accept", function () ngx.req.set_header("Accept", "") end },
    { "set_header Via", function () ngx.req.set_header("Via", "1.1 x") end },
    { "set_header Authorization", function () ngx.req.set_header("Authorization", "Basic dTpw") end },
    { "set_header Content-Type", function () ngx.req.set_header("Content-Type", "x/y") end },
    { "set_header Content-Length", function () ngx.req.set_header("Content-Length", "4") end },
    { "set_header Connection", function () ngx.req.set_header("Connection", "close") end },
    { "set_header Accept-Encoding", function () ngx.req.set_header("Accept-Encoding", "gzip") end },
    { "set_header Range", function () ngx.req.set_header("Range", "bytes=1-2") end },
    { "set_header of nothing known", function () ngx.req.set_header("X-Long", ("z"):rep(9000)) end },
    { "set_header, no value", function () ngx.req.set_header("X-Empty", "") end },

    { "clear_header Cookie", function () ngx.req.clear_header("Cookie") end },
    { "clear_header User-Agent", function () ngx.req.clear_header("User-Agent") end },
    { "clear_header X-Forwarded-For", function () ngx.req.clear_header("X-Forwarded-For") end },
    { "clear_header Referer", function () ngx.req.clear_header("Referer") end },
    { "clear_header Authorization", function () ngx.req.clear_header("Authorization") end },
    { "clear_header Content-Type", function () ngx.req.clear_header("Content-Type") end },
    { "clear_header Via", function () ngx.req.clear_header("Via") end },
    { "clear_header X-Long", function () ngx.req.clear_header("X-Long") end },
    { "clear_header Host", function () ngx.req.clear_header("Host") end },
    { "set_header Host, after clear", function () ngx.req.set_header("Host", "back.test") end },

    { "read_body", function () ngx.req.read_body() end },
    { "set_body_data", function () ngx.req.set_body_data("other body data") end },
    { "set_body_data, empty", function () ngx.req.set_body_data("") end },
    { "init_body", function ()
        ngx.req.init_body(8)
        ngx.req.append_body("more than eight bytes")
        ngx.req.finish_body()
    end },
    { "set_body_file", function () ngx.req.set_body_file(ngx.config.prefix() .. "html/file.txt") end },
    { "discard_body", function () ngx.req.discard_body() end },

    { "set_method HEAD", function () ngx.req.set_method(ngx.HTTP_HEAD) end },
    { "set_method PUT", function () ngx.req.set_method(ngx.HTTP_PUT) end },
    { "set_method TRACE", function () ngx.req.set_method(ngx.HTTP_TRACE) end },
    { "set_method GET", function () ngx.req.set_method(ngx.HTTP_GET) end },
}

-- Where there is a request at all.
_M.variables = {
    { "own = string", function () ngx.var.own = "assigned" end },
    { "own = number", function () ngx.var.own = 12 end },
    { "own = long", function () ngx.var.own = ("w"):rep(9000) end },
    { "own = nil", function () ngx.var.own = nil end },
    { "own = empty", function () ngx.var.own = "" end },
    { "args =", function () ngx.var.args = "a=9&empty=" end },
    { "args = nil", function () ngx.var.args = nil end },
    { "args = again", function () ngx.var.args = "a=10" end },
    { "limit_rate =", function () ngx.var.limit_rate = "900k" end },
    { "mapped =", function () ngx.var.mapped = "by hand" end, may_fail = true },
    { "fresh_map =", function () ngx.var.fresh_map = "by hand" end, may_fail = true },
    { "mapped = nil", function () ngx.var.mapped = nil end, may_fail = true },
    { "from_error_page =", function () ngx.var.from_error_page = "true" end },
    { "from_error_page = nil", function () ngx.var.from_error_page = nil end },
    { "set(own)", function () assert(require("resty.ngxvar").set("own", "by set()")) end },
    { "set(own, nil)", function () assert(require("resty.ngxvar").set("own", nil)) end },
    { "set(args)", function () assert(require("resty.ngxvar").set("args", "a=set")) end },
    { "set(from_error_page)", function () assert(require("resty.ngxvar").set("from_error_page", "x")) end },
    { "a regular expression", function () ngx.re.match("xyz", "(x)(?<named>y)") end },
}

-- Before the response is on its way: content and header filter.
_M.response = {
    { "status", function () ngx.status = 201 end },
    { "status of an error", function () ngx.status = 503 end },
    { "header X-Test", function () ngx.header["X-Test"] = "one" end },
    { "header X-Test, twice", function () ngx.header["X-Test"] = { "one", "two" } end },
    { "header X-Test, gone", function () ngx.header["X-Test"] = nil end },
    { "header Content-Type", function () ngx.header["Content-Type"] = "text/x-test; charset=utf-8" end },
    { "header Last-Modified", function () ngx.header["Last-Modified"] = "Sun, 06 Nov 1994 08:49:37 GMT" end },
    { "header Location", function () ngx.header["Location"] = "/elsewhere" end },
    { "header Cache-Control", function () ngx.header["Cache-Control"] = { "private", "no-store" } end },
    { "header Cache-Control, gone", function () ngx.header["Cache-Control"] = nil end },
    { "header Link", function () ngx.header["Link"] = { "</a>", "</b>" } end },
    { "header Connection", function () ngx.header["Connection"] = "x" end },
    { "header Content-Length", function () ngx.header["Content-Length"] = 3 end },
    { "header Content-Length, gone", function () ngx.header["Content-Length"] = nil end },
    { "header Transfer-Encoding", function () ngx.header["Transfer-Encoding"] = "x" end },
    { "header Content-Type, gone", function () ngx.header["Content-Type"] = nil end },
    { "status again", function () ngx.status = 200 end },
}

-- While the response goes out: content.
_M.sending = {
    { "send_headers", function () ngx.send_headers() end },
    { "print", function () ngx.print("abc") end },
    { "flush", function () ngx.flush(true) end },
    { "time passes", function () ngx.sleep(0.003) end },
    { "a subrequest", function ()
        ngx.location.capture("/sub", { method = ngx.HTTP_POST, body = "sub body", args = "a=sub" })
    end },
    { "a subrequest that shares variables", function ()
        ngx.location.capture("/sub", { share_all_vars = true })
    end },
    { "a subrequest that gets copies", function ()
        ngx.location.capture("/sub", { copy_all_vars = true, vars = { own = "for the subrequest" } })
    end },
    { "eof", function () ngx.eof() end },
}


-- Makes all changes of some lists; "d" (differential.lua) checks before and after each.
function _M.apply(d, phase, ...)
    d.check(phase)

    for _, list in ipairs { ... } do
        for _, change in ipairs(_M[list]) do
            local ok, err = pcall(change[2])

            if not ok and not change.may_fail then
                d.note(phase .. ", " .. change[1] .. ": " .. err)
            end

            d.check(phase, change[1])
        end
    end
end


return _M
