# OpenResty's image with the module:
#
#     docker build --build-arg LUA_VAR_BUILD="$(build/version)" .
#
# Both stages have the same image, because the module is built for the nginx in it.

ARG OPENRESTY=1.27.1.2

FROM openresty/openresty:${OPENRESTY}-jammy AS build
ARG OPENRESTY
RUN curl -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal
ENV PATH=/root/.cargo/bin:$PATH
RUN curl -sSf https://openresty.org/download/openresty-${OPENRESTY}.tar.gz | tar -xz -C /usr/src
COPY . /usr/src/lua-var
WORKDIR /usr/src/lua-var
ARG LUA_VAR_BUILD
ENV LUA_VAR_BUILD=${LUA_VAR_BUILD}
RUN make NGINX=/usr/local/openresty/nginx/sbin/nginx
RUN make install NGINX=/usr/local/openresty/nginx/sbin/nginx DESTDIR=/installed

FROM openresty/openresty:${OPENRESTY}-jammy
COPY --from=build /installed /
RUN sed -i '1i load_module modules/ngx_http_lua_var_module.so;' /usr/local/openresty/nginx/conf/nginx.conf
RUN openresty -t
