"""nginx_configuration.py - nginx as it would run by itself, but in the foreground and in one directory"""

CONFIGURATION = """
daemon off;
{processes}
user root;
pid {directory}/nginx-{port}.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
  access_log off;
  {directive}
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    {listen}
    root {directory}/www;
  }}
}}
"""


TWO_LISTENERS = "listen 0.0.0.0:{port}; listen [::]:{port};"
A_SOCKET_FOR_EACH = "listen 0.0.0.0:{port} reuseport; listen [::]:{port} reuseport;"
ONE_FOR_BOTH_FAMILIES = "listen [::]:{port} ipv6only=off;"


def write_nginx_configuration(lab, port, directive, listen=TWO_LISTENERS, processes="master_process off;"):
    """The path of a configuration that serves the lab's www/ on `port`, with one directive more."""
    return lab.write(f"nginx-{port}.conf", CONFIGURATION.format(
        directory=lab.directory, port=port, directive=directive, listen=listen.format(port=port),
        processes=processes))
